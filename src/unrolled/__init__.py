"""Training experiments for recurrent text classifiers."""
