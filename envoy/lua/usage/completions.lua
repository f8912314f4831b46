-- The usage in answers of OpenAI's older completions. They differ from those of chats only in where the text is.
--
-- usage/openai.lua explains the form of this table.

local openai = require("usage/openai")

local completions = {}
for name, part in pairs(openai) do completions[name] = part end
completions.content = { 'text":"', 'text": "' }
return completions
