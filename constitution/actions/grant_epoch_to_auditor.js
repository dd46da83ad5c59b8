// An auditor reads the private part of one epoch that has ended: not the epochs before it, and nothing that comes.
actions.set("grant_epoch_to_auditor", {
  validate: (args) => checkArgs(args, { transaction: is.integer(1, 2 ** 53 - 1), auditor_key: is.encryptionKey, auditor: is.words }),
  apply: ({ transaction, auditor_key }) => ccf.coco.grantEpoch(transaction, auditor_key),
  describe: ({ transaction, auditor }) =>
    `Disclose all private state of the ledger that was written under the secret of transaction ${transaction} to ${auditor}, for ever`,
});
