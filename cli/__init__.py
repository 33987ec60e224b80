"""The `pillarbox` command."""
