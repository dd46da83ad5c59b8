refuses("set_read_only", {}, /reason is missing/);
refuses("set_read_only", { reason: "" }, /reason must be a text/);
carries("set_read_only", { reason: "A key was stolen" });
equal(readRow(CLOSURES, textKey("*")), { reason: "A key was stolen" });
