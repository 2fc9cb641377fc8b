"""Files on disk and `Clip` records: one package a data set or kind of file."""
