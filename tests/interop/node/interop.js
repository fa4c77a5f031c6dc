// kafkajs, as tests/interop/program.py asks: a JSON object a line in, one a line out.

process.env.KAFKAJS_NO_PARTITIONER_WARNING = '1'
const readline = require('readline')
const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = require('kafkajs')
const { Kafka: Binding } = require('cloudevents')
const Ajv = require('ajv/dist/2020')
const addFormats = require('ajv-formats')
const lz4 = require('lz4-napi')
const zstd = require('@bokuweb/zstd-wasm')
const wanted = require('./package.json').dependencies

CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: encoder => lz4.compressFrame(encoder.buffer),
  decompress: buffer => lz4.decompressFrame(buffer)
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => Buffer.from(zstd.compress(encoder.buffer)),
  decompress: async buffer => Buffer.from(zstd.decompress(buffer))
})
const CODECS = { none: 'None', gzip: 'GZIP', snappy: 'Snappy', lz4: 'LZ4', zstd: 'ZSTD' }
const named = (...packages) => packages.map(name => `${name} ${wanted[name]}`).join(', ')

const kafka = job => new Kafka({ brokers: [job.bootstrap], logLevel: logLevel.NOTHING })

const connected = async job => {
  const transactional = job.transaction === null ? {} : { transactionalId: job.transaction }
  const producer = kafka(job).producer({
    idempotent: job.mode !== 'plain', maxInFlightRequests: 1, transactionTimeout: job.timeout_ms, ...transactional
  })
  await producer.connect()
  return producer
}

const headersOf = listed => {
  const headers = {}
  for (const [name, text] of listed) {
    const value = text === null ? null : Buffer.from(text, 'base64')
    headers[name] = name in headers ? [headers[name], value].flat() : value
  }
  return headers
}

const produce = async job => {
  const producer = await connected(job)
  const sender = job.transaction === null ? producer : await producer.transaction()
  const messages = job.messages.map(({ key, value, headers }) => ({ key, value, headers: headersOf(headers) }))
  await sender.send({ topic: job.topic, compression: CompressionTypes[CODECS[job.codec]], messages })
  if (job.mode === 'commit') await sender.commit()
  if (job.mode === 'abort') await sender.abort()
  if (job.mode !== 'open') await producer.disconnect()
  return {}
}

const end = async job => {
  const producer = await connected(job)
  const taken = await producer.transaction() // connecting alone takes nothing over
  await taken.abort()
  await producer.disconnect()
  return {}
}

const described = (topic, partition, message, valid) => {
  const value = message.value.toString()
  const headers = Object.entries(message.headers).map(([name, bytes]) => [name, bytes.toString('base64')])
  const texts = Object.fromEntries(Object.entries(message.headers).map(([name, bytes]) => [name, bytes.toString()]))
  const invalid = valid(JSON.parse(value)) ? null : JSON.stringify(valid.errors)
  const event = Binding.toEvent({ headers: texts, key: message.key.toString(), value, body: value })
  event.validate() // raises an error
  const { id, source, type, specversion, time, datacontenttype } = event
  const attributes = { id, source, type, specversion, time, datacontenttype, data: JSON.stringify(event.data) }
  const place = { topic, partition, offset: Number(message.offset) }
  return { ...place, key: message.key.toString(), value, headers, invalid, event: attributes }
}

const consume = async job => {
  const ajv = new Ajv({ strict: true, allErrors: true })
  addFormats(ajv)
  const valid = {}
  const left = new Map()
  for (const [topic, { schema, last }] of Object.entries(job.topics)) {
    valid[topic] = ajv.compile(schema)
    for (const [partition, offset] of Object.entries(last)) left.set(`${topic}/${partition}`, offset)
  }
  const consumer = kafka(job).consumer({ groupId: job.group, readUncommitted: false, maxWaitTimeInMs: 200 })
  await consumer.connect()
  await consumer.subscribe({ topics: Object.keys(valid), fromBeginning: true })
  const messages = []
  try {
    await new Promise((resolve, reject) => {
      consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error))
      consumer.run({
        eachMessage: async ({ topic, partition, message }) => {
          try {
            messages.push(described(topic, partition, message, valid[topic]))
          } catch (error) {
            return reject(error)
          }
          const place = `${topic}/${partition}`
          if (Number(message.offset) >= left.get(place)) left.delete(place)
          if (left.size === 0) resolve()
        }
      }).catch(reject)
    })
  } finally {
    await consumer.disconnect()
  }
  return { messages }
}

const about = async () => ({
  client: named('kafkajs'),
  runtime: `Node.js ${process.versions.node}`,
  codecs: `gzip its own, ${named('kafkajs-snappy', 'lz4-napi', '@bokuweb/zstd-wasm')}`,
  events: named('cloudevents'),
  validator: named('ajv', 'ajv-formats')
})

const JOBS = { about, produce, end, consume }
const main = async () => {
  await zstd.init()
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const job = JSON.parse(line)
    const answer = await JOBS[job.do](job).catch(error => ({ error: String(error.stack) }))
    process.stdout.write(JSON.stringify(answer) + '\n')
  }
  process.exit() // transactions stay open
}
main()
