"""The client half: create tasks, follow them, read what came of them."""
