"""What the model is measured by: a question or a remark, and the same said otherwise.

Written by hand before the first training, and never trained on. Neighbours on the same subject are there on purpose:
what only knows the subject finds the wrong one.
"""

_TEXT = """
How do I purchase a new automobile? | Steps for buying a car.
My vehicle will not start in the morning. | The engine of my car is dead when I wake up.
Where can I get my bicycle repaired? | A shop that fixes bikes.
The physician told me to rest. | The doctor said that I should stay in bed.
Which medicine helps against a sore throat? | A remedy for pain when swallowing.
The infant cried all night. | The baby was weeping until dawn.
We intend to wed next summer. | Our marriage will be in July.
The attorney lost the trial. | The lawyer was defeated in court.
Robbers took money from the bank. | Thieves stole cash.
The cops arrested the burglar. | Police caught the man who broke into the house.
Rain is expected this afternoon. | The forecast says that it will be wet later today.
A storm destroyed several homes. | Houses were ruined by the hurricane.
It is freezing outside. | The weather is very cold.
The river overflowed its banks. | There was a flood by the stream.
Tall trees grow in this forest. | These woods are full of high pines.
Dogs must be kept on a leash. | Pets have to be tied while walking.
The kitten climbed the curtain. | A young cat went up the drapes.
Birds fly south in autumn. | Geese migrate when the fall comes.
Fishermen returned with an empty net. | The boat came back without a catch.
The farmer harvested his wheat. | Grain was reaped on the land.
This meal tastes delicious. | The food is very good.
How long must I boil an egg? | Time for cooking eggs in hot water.
Please put less sugar in my tea. | I want my drink to be not so sweet.
The bread has become stale. | That loaf is old and hard.
He drank too much wine. | The man got drunk on alcohol.
Supper will be ready soon. | Dinner is nearly prepared.
She is a skilled painter. | The artist makes beautiful pictures.
The audience applauded the singer. | People clapped after the song.
He plays an instrument in an orchestra. | A musician who is a violinist.
The movie bored me. | I found the film dull.
Read this novel before you sleep. | A book of fiction for the evening.
The author composed a poem. | A writer wrote verse.
Students failed the examination. | The pupils did not pass the test.
The teacher clarified the lesson. | An instructor explained it to the class.
Children learn to count at school. | Kids are taught numbers by education.
The professor gave a lecture on physics. | A talk about the science of matter and energy.
What does this expression mean? | The definition of a phrase.
Translate this sentence into another language. | Render the words in a foreign tongue.
The team won the match. | Our side was victorious in the game.
He sprinted to the finish. | The man ran fast to the end of the race.
The swimmer crossed the lake. | Somebody got over the water by swimming.
The company dismissed its workers. | Employees were fired by the firm.
I am searching for employment. | Looking for a job.
My boss increased my salary. | The manager raised my pay.
Prices rose sharply last year. | Everything became more expensive.
She owes the bank a lot of money. | A woman with a large debt.
He is wealthy. | The man is rich.
The beggar has no home. | A poor person without a house.
Taxes must be paid in spring. | The government collects duty.
The parliament passed a statute. | A law was made by the legislature.
Citizens elect a president. | People vote for the head of state.
The troops attacked the town. | Soldiers assaulted a city.
The war ended with a treaty. | Peace was signed after the fighting.
The king governed for ten years. | A monarch ruled for a decade.
The aeroplane landed safely. | The aircraft came down without damage.
Our train was delayed. | The railway was late.
How far is the nearest airport? | Distance to the place where planes take off.
We travelled across the ocean by ship. | A voyage over the sea in a vessel.
Turn left at the crossroads. | Where the streets meet, go to the other side than right.
The hotel has no vacant rooms. | There is no place left to stay for the night.
Close the window, there is a draught. | Shut it, because the air blows in.
The lamp illuminates the desk. | A light shines on the table.
Switch off the heating. | Make the radiator stop giving warmth.
The roof leaks when it pours. | Water drips through the top of the house in rain.
He constructed a wooden chair. | A seat was built out of timber.
The carpet needs to be cleaned. | The rug is dirty.
I cannot find my keys. | What opens the door is lost.
Her husband is gentle. | The man she married is kind.
My mother's brother visited us. | Our uncle came to see the family.
The old lady passed away. | An elderly woman died.
He was furious with his neighbour. | The man was very angry at somebody next door.
She felt lonely and unhappy. | A woman was sad and by herself.
The joke made everyone laugh. | It was so funny that people were amused.
I am scared of spiders. | Fear of small animals with eight legs.
He apologised for the mistake. | The man said that he was sorry for his error.
They argued about the inheritance. | A quarrel over what the dead had left.
She hid the letter. | A message was concealed.
The witness lied. | Somebody did not tell the truth.
The computer crashed and my file is gone. | Data was lost when the machine broke.
How can I erase a document? | Delete a text.
My password does not work any more. | I am unable to log in with the secret word.
Send me a copy by electronic mail. | Forward it to my email.
The internet connection is slow. | The network takes a long time to respond.
The program contains an error. | There is a bug in the software.
Save the picture to the disk. | Store an image in memory.
The telephone rang twice. | There were two calls.
The printer has run out of paper. | No sheets are left in the machine that prints.
Which bone protects the brain? | The skull.
The heart pumps blood through the body. | An organ that keeps the circulation going.
The wound became infected. | Germs got into the injury.
He broke his leg while skiing. | A fracture from an accident in the snow.
She wears glasses to read. | A woman whose eyes need lenses.
Smoking damages the lungs. | Tobacco is harmful for breathing.
The planet circles around the sun. | The earth moves about a star.
Astronomers discovered a new moon. | Scientists who watch the sky found a satellite.
Iron rusts when it is wet. | A metal corrodes in water.
Gold is a precious metal. | A yellow element of great value.
The bomb exploded. | There was a blast.
Water turns to steam when heated. | A liquid becomes vapor.
The clock shows noon. | It is twelve, in the middle of the day.
The festival happens every year. | An annual celebration.
He wakes up early. | The man rises at dawn.
The shop is shut on Sundays. | The store does not open at the weekend.
The jacket is too big. | This coat has the wrong size.
She sewed a dress. | A garment was made with needle and thread.
The ring was a present. | A piece of jewelry as a gift.
The priest prays in the church. | A clergyman speaks to God.
"""

PAIRS: list[tuple[str, str]] = [
    (question.strip(), answer.strip()) for question, answer in (line.split("|") for line in _TEXT.strip().splitlines())
]
