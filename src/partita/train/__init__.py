"""Learn across a cut: one network trained by an edge device and a cloud server together."""
