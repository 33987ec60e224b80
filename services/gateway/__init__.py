"""The gateway: takes mail over SMTP from programs that speak nothing else, and publishes it as a client does."""
