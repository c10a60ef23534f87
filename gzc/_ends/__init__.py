"""Between what bytes move: descriptions of sources and sinks."""
