"""Readers and writers of files on disk: one package for each data set or kind of file, all with `Clip` records."""
