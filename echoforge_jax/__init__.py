"""EchoForge in JAX: left-ventricle segmentation in echocardiography clips from two labelled frames."""

__version__ = "0.1.0"
