// Its data stays: the maps that it wrote are another application's to find.
actions.set("remove_js_app", {
  validate: checkNoArgs,
  apply: () => clearApp(),
  describe: () => `Serve no application below /app any more; what it has stored stays`,
});
