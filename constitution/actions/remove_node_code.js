actions.set("remove_node_code", {
  validate: (args) => checkArgs(args, { code_id: is.hex(32) }),
  apply: ({ code_id }) => void ccf.kv[SGX_MEASUREMENTS].delete(textKey(code_id.toLowerCase())),
  describe: ({ code_id }) => `Accept no more SGX nodes whose enclave is ${code_id}`,
});
