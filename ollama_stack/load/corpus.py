"""What a class asks, in Russian and English: short questions, tasks, and pasted texts of 300 words."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from math import exp, log
from random import Random
from statistics import NormalDist

MEDIAN_THINK, SPREAD_THINK, LONGEST_THINK = 25.0, 0.7, 180.0  # seconds, sigma, seconds
MEDIAN_ANSWER, SPREAD_ANSWER, LEAST_ANSWER = 120, 0.6, 16  # tokens, sigma, tokens

SHORT = (
    "Why is the sky blue?",
    "What does a compiler do?",
    "Name three causes of the First World War.",
    "How many moons does Mars have?",
    "What is the difference between mass and weight?",
    "Почему лёд не тонет в воде?",
    "Что такое рекурсия? Приведи пример.",
    "Кто написал «Мёртвые души» и о чём эта книга?",
    "Чем отличается столица от областного центра?",
    "Как найти площадь трапеции?",
)
TASKS = (
    "Write a Python function that takes a list of numbers and returns the second largest of them. "
    "Explain each line in one sentence, and show two examples with their results.",
    "I have to hold a talk of three minutes about volcanoes. Give me an outline with five points, and "
    "for each of them one fact that surprises people of my age.",
    "Напиши на Python программу, которая считает, сколько раз в строке встречается каждая буква. "
    "Объясни, как она работает, и покажи, что она выведет для слова «молоко».",
    "Поезд прошёл 240 км за три часа, а потом ещё 150 км за два с половиной часа. Найди среднюю "
    "скорость на всём пути и объясни решение по шагам.",
)
TEXTS = (
    (
        "Retell this text in three sentences: ",
        """A river begins where water finds no way but down. Rain falls on a hill, soaks into the ground, and comes
to light again as a spring some weeks later. The spring feeds a brook, brooks meet, and where several of them have met
people begin to call the water a river. On its way it carries stones, then gravel, then sand, and at last only mud,
because it becomes slower as the land becomes flat. In the mountains a river cuts a narrow valley with steep sides. In
the plain it swings from side to side, takes earth from the outer bank of each bend, and leaves it at the inner bank of
the next one. After many years two bends may meet; then the river takes the short way, and the old bend stays behind
as a lake in the form of a horseshoe. People have always lived beside rivers. A river gave water for fields, fish for
the table and a road on which heavy things could be moved long before there were streets. Nearly all old capitals stand
on one. But a river also floods, and every town on a bank knows how high the water stood in its worst year. For two
centuries engineers made rivers straight, so that ships came through and fields stayed dry. The water then ran faster,
dug itself deeper, and the floods moved to the towns below. Today some of those rivers get their bends back: meadows
beside them may be flooded again, and hold the water that would stand in cellars otherwise. It costs less than higher
walls, and birds, frogs and anglers come back by themselves. Anybody who wants to know a river therefore has to look
at the whole of it, from the spring to the mouth, and at the people on both banks as well.""",
    ),
    (
        "Выпиши главные мысли этого текста: ",
        """Пчёлы живут семьями, и каждая семья похожа на небольшой город. В ней есть одна матка, несколько сотен
трутней и десятки тысяч рабочих пчёл. Матка откладывает яйца, иногда больше тысячи в день. Рабочие пчёлы делают всё
остальное, причём занятие пчелы меняется с возрастом. В первые дни она чистит ячейки, потом кормит личинок, затем
строит соты и принимает нектар у тех, кто прилетел с поля. Ближе к концу третьей недели она сторожит вход в улей и
только после этого сама начинает летать за нектаром и пыльцой. Летом рабочая пчела живёт около шести недель, а осенние
пчёлы доживают до весны, потому что почти не летают и берегут силы. Зимой семья собирается в плотный клуб. Пчёлы в
середине согревают матку, а те, что снаружи, постепенно меняются местами с внутренними, поэтому никто не замерзает.
Еда в это время только одна: мёд, собранный летом. Чтобы пережить зиму, семье нужно около двадцати килограммов. Пчёлы
умеют рассказывать друг другу, где растут цветы. Вернувшись в улей, пчела танцует на сотах: направление танца
показывает, куда лететь относительно солнца, а его длительность показывает расстояние. Этот язык расшифровал
австрийский учёный Карл фон Фриш и получил за своё открытие Нобелевскую премию. Для людей пчёлы важны не только мёдом.
Перелетая с цветка на цветок, они переносят пыльцу, и без этого многие растения не дают плодов. Яблони, вишни, огурцы,
гречиха и подсолнечник приносят гораздо меньший урожай там, где пчёл мало. В последние десятилетия пчёлам стало
труднее жить: на больших полях растёт одно и то же растение, оно цветёт две недели, а потом еды нет совсем. Вредят
пчёлам клещи, болезни и яды, которыми обрабатывают поля днём, когда пчёлы летают. Помочь им может каждый: посадить у
дома цветы, которые распускаются в разное время, не косить всю траву сразу, оставить на жаркий день блюдце воды с
камешками, чтобы пчела могла сесть и напиться. Даже несколько таких садов рядом уже становятся для пчёл дорогой от
одного луга к другому. Школьный двор подходит для этого не хуже сада.""",
    ),
)


# Of 100 questions 61 are short, 24 are tasks, and 15 have a pasted text.
DECK = (*4 * SHORT, *4 * TASKS, *5 * [wish + " ".join(text.split()) for wish, text in TEXTS])


def questions() -> Iterator[str]:
    """What a class asks, one after the other: decks that are shuffled, the same ones each time.

    By dice, one class would have twice the long texts of another. The first words differ, so that no answer comes out
    of another one's prompt cache.
    """
    chance, number = Random(0), count(1)  # noqa: S311 no secret
    while True:
        for prompt in chance.sample(DECK, len(DECK)):
            yield f"{next(number)}. {prompt}"


def sample(number: int, most: int) -> list[tuple[str, int]]:
    """So many questions and the most tokens of their answers: a small class with the shares of a large one."""
    chance, steps = Random(0), [(step + 0.5) / number for step in range(number)]  # noqa: S311 no secret
    wished = NormalDist(log(MEDIAN_ANSWER), SPREAD_ANSWER)
    prompts = [DECK[int(step * len(DECK))] for step in steps]
    lengths = [_bounded(exp(wished.inv_cdf(step)), most) for step in steps]
    return list(zip(chance.sample(prompts, number), chance.sample(lengths, number), strict=True))


def think(chance: Random) -> float:
    """Seconds between an answer and the next question: log-normal."""
    return min(LONGEST_THINK, chance.lognormvariate(log(MEDIAN_THINK), SPREAD_THINK))


def length(chance: Random, most: int) -> int:
    """The most tokens of an answer: log-normal, within ``most``."""
    return _bounded(chance.lognormvariate(log(MEDIAN_ANSWER), SPREAD_ANSWER), most)


def _bounded(tokens: float, most: int) -> int:
    return min(most, max(LEAST_ANSWER, round(tokens)))
