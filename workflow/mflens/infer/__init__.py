"""Inference: objectives, the training loop, the methods and their posteriors."""
