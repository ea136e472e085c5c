// The official Google SDK: whole, streamed, and a tool's round trip in a stream.
import { GoogleGenAI } from "@google/genai";

const model = process.env.MODEL;
const client = new GoogleGenAI({ apiKey: process.env.GEMINI_API_KEY });
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const declared = { name: "weather", description: "The weather in a city.", parametersJsonSchema: parameters };
const config = { tools: [{ functionDeclarations: [declared] }] };

const names = [];
for await (const each of await client.models.list()) names.push(each.name.replace("models/", ""));
const whole = await client.models.generateContent({ model, contents: "Hello" });

let streamed = "";
let usage = null;
for await (const chunk of await client.models.generateContentStream({ model, contents: "Hello again" })) {
  streamed += chunk.text ?? "";
  usage = chunk.usageMetadata ?? usage;
}

const asked = [{ role: "user", parts: [{ text: "use the tool weather" }] }];
const parts = [];
let finish = "";
for await (const chunk of await client.models.generateContentStream({ model, contents: asked, config })) {
  parts.push(...(chunk.candidates[0].content?.parts ?? []));
  finish = chunk.candidates[0].finishReason ?? finish;
}
const call = parts.find((part) => part.functionCall).functionCall;
const result = { functionResponse: { id: call.id, name: call.name, response: { output: "sunny" } } };
const said = { role: "model", parts: parts.filter((part) => part.text !== "" || part.thoughtSignature) };
const contents = [...asked, said, { role: "user", parts: [result] }];
const end = await client.models.generateContent({ model, contents, config });

console.log(
  JSON.stringify({
    models: names,
    whole: whole.text,
    streamed,
    tokens: [usage.promptTokenCount, (usage.candidatesTokenCount ?? 0) + (usage.thoughtsTokenCount ?? 0)],
    tool: call.name,
    city: call.args.city,
    end: end.text,
    finish: [finish, end.candidates[0].finishReason],
  }),
);
