"""The resolver: finds where mail has to go, and picks its lanes."""
