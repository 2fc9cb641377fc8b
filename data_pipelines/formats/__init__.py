"""Disk <-> `Clip`: one module a format, each a reader and a writer."""
