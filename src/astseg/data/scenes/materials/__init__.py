"""Materials like photographs: a fixed catalogue of procedural ones, and the user's own images."""
