"""What the services share: the wire types, the settings, the broker, the mail store's schema."""
