refuses("lift_read_only", { now: true }, /takes no arguments/);
carries("set_read_only", { reason: "A key was stolen" });
carries("lift_read_only", null);
equal(readRow(CLOSURES, textKey("*")), undefined);
