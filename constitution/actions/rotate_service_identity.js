// For a key that somebody may know who is not to know it any more, above all a node that is removed for cause: propose both together.
actions.set("rotate_service_identity", {
  validate: checkNoArgs,
  apply: () => ccf.coco.rotateServiceIdentity(),
  describe: () =>
    "Give the service another key and certificate, which the ones before vouch for; no node that is being removed gets the key",
});
