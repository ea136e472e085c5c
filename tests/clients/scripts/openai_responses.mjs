// The official OpenAI SDK on responses: whole, streamed, and a tool's round trip in a stream.
import OpenAI from "openai";

const model = process.env.MODEL;
const client = new OpenAI();
const tools = [
  {
    type: "function",
    name: "weather",
    description: "The weather in a city.",
    strict: false,
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
];

const models = await client.models.list();
const whole = await client.responses.create({ model, input: "Hello", store: false });

let streamed = "";
let usage = null;
for await (const event of await client.responses.create({ model, input: "Hello again", stream: true, store: false })) {
  if (event.type === "response.output_text.delta") streamed += event.delta;
  if (event.type === "response.completed") usage = event.response.usage;
}

const asked = [{ role: "user", content: "use the tool weather" }];
const called = await client.responses.stream({ model, input: asked, tools, store: false }).finalResponse();
const call = called.output.find((item) => item.type === "function_call");
const result = { type: "function_call_output", call_id: call.call_id, output: "sunny" };
const end = await client.responses.create({ model, input: [...asked, call, result], tools, store: false });

console.log(
  JSON.stringify({
    models: models.data.map((each) => each.id),
    whole: whole.output_text,
    streamed,
    tokens: [usage.input_tokens, usage.output_tokens],
    tool: call.name,
    city: JSON.parse(call.arguments).city,
    end: end.output_text,
    finish: [called.status, end.status],
  }),
);
