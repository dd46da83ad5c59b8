actions.set("remove_vbs_module", {
  validate(args) {
    if (!hasRule("vbs", "modules", vbsModule(args))) fail("no such module is accepted: name it as it was added, in full");
  },
  apply: (args) => removeRule("vbs", "modules", vbsModule(args)),
  describe: (args) => `Accept in VBS enclaves no more the module with ${vbsWords(args)}`,
});
