"""What lies on disk: run folders, manifests, chunks, and the long table of estimates cut into blocks."""
