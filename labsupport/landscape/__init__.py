"""The landscape of the loss: where its gradient vanishes, how it curves there, and how training passes."""

__all__ = ["curvature", "plateaus", "replicas", "saddles", "sharpness", "slices"]
