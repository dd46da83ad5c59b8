actions.set("remove_virtual_host_data", {
  validate: (args) => checkArgs(args, { host_data: is.hex(32) }),
  apply: ({ host_data }) => void ccf.kv[VIRTUAL_HOST_DATA].delete(textKey(host_data.toLowerCase())),
  describe: ({ host_data }) => `Accept no more virtual nodes with the host data ${host_data}; once none is listed, host data are not asked for`,
});
