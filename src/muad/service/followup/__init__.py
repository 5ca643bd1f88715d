"""After go-live: whether anything has changed, what people said of parts, and what follows from it."""
