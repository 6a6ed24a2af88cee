"""Callbacks for training libraries. Each module imports its library; import the one that you use.

They all do the same: tell how far the training is, save a checkpoint and then the context that
names it, and leave when the task should stop. A later attempt goes on from the checkpoint.
"""
