// What a ledger keeps private is sealed in the ledger files. A map that is published is written there in clear too, from this decision on.
actions.set("publish_map", {
  validate: (args) => checkArgs(args, { map: is.privateMap }),
  apply: ({ map }) => writeRow(PUBLISHED_MAPS, textKey(map), {}),
  describe: ({ map }) => `Write what enters the private map ${map} to the ledger files in clear too, where it can never be taken back`,
});
