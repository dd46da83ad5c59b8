refuses("remove_virtual_host_data", { host_data: 7 }, /64 hexadecimal/);
carries("add_virtual_host_data", { host_data: "ab".repeat(32) });
carries("remove_virtual_host_data", { host_data: "AB".repeat(32) });
equal(ccf.kv[VIRTUAL_HOST_DATA].has(textKey("ab".repeat(32))), false);
