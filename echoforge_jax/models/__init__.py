"""The parts of the network, one file an idea of the paper."""
