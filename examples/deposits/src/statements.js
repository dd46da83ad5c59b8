// What one transaction left in an account: the header x-ms-ccf-transaction-id names it, the receipt proves it to whoever trusts the service's key.
import { refuse } from "./lib/rows.js";

export function statement(request) {
  const { account } = request.params;
  const { transactionId, receipt, kv } = ccf.historicalState;
  const row = kv.accounts.get(ccf.strToBuf(account));
  const found = row === undefined ? undefined : ccf.bufToJsonCompatible(row);
  if (found === undefined || found.owner !== request.caller.id) return refuse(404, "the transaction has changed no such account of yours");
  return { body: { account, balance: found.balance, transactionId, receipt } };
}
