// The official OpenAI SDK on chat completions: whole, streamed, and a tool's round trip in a stream.
import OpenAI from "openai";

const model = process.env.MODEL;
const client = new OpenAI();
const tools = [
  {
    type: "function",
    function: {
      name: "weather",
      description: "The weather in a city.",
      parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
    },
  },
];

const models = await client.models.list();
const whole = await client.chat.completions.create({ model, messages: [{ role: "user", content: "Hello" }] });

let streamed = "";
let usage = null;
for await (const chunk of await client.chat.completions.create({
  model,
  messages: [{ role: "user", content: "Hello again" }],
  stream: true,
  stream_options: { include_usage: true },
})) {
  streamed += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}

const asked = [{ role: "user", content: "use the tool weather" }];
const called = await client.chat.completions.stream({ model, messages: asked, tools }).finalChatCompletion();
const message = called.choices[0].message;
const call = message.tool_calls[0];
const result = { role: "tool", tool_call_id: call.id, content: "sunny" };
const end = await client.chat.completions.create({ model, messages: [...asked, message, result], tools });

console.log(
  JSON.stringify({
    models: models.data.map((each) => each.id),
    whole: whole.choices[0].message.content,
    streamed,
    tokens: [usage.prompt_tokens, usage.completion_tokens],
    tool: call.function.name,
    city: JSON.parse(call.function.arguments).city,
    end: end.choices[0].message.content,
    finish: [called.choices[0].finish_reason, end.choices[0].finish_reason],
  }),
);
