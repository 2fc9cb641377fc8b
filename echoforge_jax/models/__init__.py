"""The network: one file for each part of the paper (`arc`, `tsf` with `memory`, `cpr`), `echoforge` assembles them."""
