"""The scheduler: owns the truth about every mail."""
