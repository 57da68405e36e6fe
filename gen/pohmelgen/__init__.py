"""Generator of the Pohmel protocol: descriptors of idl/ in, C, docs and tools out."""
