"""The commands of `tinygpt`, a file each. Torch is imported by those that need it, when they run."""
