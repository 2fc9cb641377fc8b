"""EchoNet-Dynamic: the tree with its tables (`tree`), its videos (`video`) and its outlines (`tracings`)."""

from data_pipelines.formats.echonet_dynamic.tree import Entry, index, patient_splits, read, write_tree

__all__ = ["Entry", "index", "patient_splits", "read", "write_tree"]
