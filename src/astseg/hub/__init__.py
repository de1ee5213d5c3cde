"""Models by name: those that come with astseg, those of the model hub, and how a run becomes one."""
