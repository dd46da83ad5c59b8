actions.set("set_epoch_policy", {
  validate: (args) => checkArgs(args, { "max_age_s?": is.integer(60, 10 * 366 * 24 * 3600) }),
  apply: ({ max_age_s }) => writeRow(EPOCH_POLICY, K0, { max_age_s }),
  describe: ({ max_age_s }) =>
    max_age_s ? `Seal the ledger with a new secret every ${max_age_s} seconds at the latest` : "Keep ledger secrets until a vote ends them",
});
