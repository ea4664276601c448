"""A stand-in for model providers that speaks their real wire protocols on loopback; it imports nothing of the rest."""
