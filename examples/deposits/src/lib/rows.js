// Rows of texts and JSON over maps of bytes.

const key = (name) => ccf.strToBuf(name);

export const table = (name) => {
  const map = ccf.kv[name];
  return {
    read(name) {
      const row = map.get(key(name));
      return row === undefined ? undefined : ccf.bufToJsonCompatible(row);
    },
    write: (name, row) => map.set(key(name), ccf.jsonCompatibleToBuf(row)),
    rows() {
      const all = [];
      map.forEach((row) => all.push(ccf.bufToJsonCompatible(row)));
      return all;
    },
  };
};

export const refuse = (statusCode, message) => ({ statusCode, body: { error: message } });

// Money is in cents, as a whole number: nothing is lost by rounding.
export const isAmount = (amount) => Number.isSafeInteger(amount) && amount > 0;
