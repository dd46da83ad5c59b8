refuses("trigger_snapshot", { now: true }, /takes no arguments/);
carries("trigger_snapshot", null);
