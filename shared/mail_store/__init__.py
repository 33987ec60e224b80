"""The mail store: its tables, how it is opened and spoken to, and the claim, which the senders make."""
