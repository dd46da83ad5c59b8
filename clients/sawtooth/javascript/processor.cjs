// A transaction processor as a user of the JavaScript SDK writes one: sums of what was sent to a name.
//
//   node processor.cjs tcp://127.0.0.1:4004 FAMILY

const { createHash } = require('node:crypto');
const { TransactionProcessor } = require('sawtooth-sdk/processor');
const { InvalidTransaction } = require('sawtooth-sdk/processor/exceptions');
const { TransactionHandler } = require('sawtooth-sdk/processor/handler');

const [url, family] = process.argv.slice(2);
const sha512 = (text) => createHash('sha512').update(text).digest('hex');
const namespace = sha512(family).slice(0, 6);

class Sums extends TransactionHandler {
  constructor() {
    super(family, ['1.0'], [namespace]);
  }

  async apply(transaction, context) {
    const { name, add } = JSON.parse(Buffer.from(transaction.payload).toString('utf8'));
    if (typeof add !== 'number') throw new InvalidTransaction('add is no number');
    const address = namespace + sha512(name).slice(0, 64);
    const { [address]: entry } = await context.getState([address]);
    const sum = entry.length === 0 ? 0 : JSON.parse(Buffer.from(entry).toString('utf8'));
    await context.setState({ [address]: Buffer.from(JSON.stringify(sum + add)) });
    await context.addEvent('sums/added', [['name', name]], Buffer.from(String(add)));
    await context.addReceiptData(Buffer.from('seen'));
  }
}

const processor = new TransactionProcessor(url);
processor.addHandler(new Sums());
processor.start();
