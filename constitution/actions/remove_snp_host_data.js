actions.set("remove_snp_host_data", {
  validate: (args) => checkArgs(args, { host_data: is.hex(32) }),
  apply: ({ host_data }) => void ccf.kv[SNP_HOST_DATA].delete(textKey(host_data.toLowerCase())),
  describe: ({ host_data }) => `Accept no more SEV-SNP nodes with the host data ${host_data}`,
});
