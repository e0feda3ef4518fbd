"""Where files lie: the spool's paths, publish and claim, taking drops, the watch. Only here is watchdog."""
