"""The course pack: twelve exercises, checked by hidden inputs. docs/course.md is for learners, docs/teaching.md for
teachers.

    e01_shapes.py … e12_data_faults.py   an exercise each: starter file, right results, checks, kinds of mistakes
    exercise.py                          what an exercise is made of
    worker.py, child.py                  a learner's file in a process of its own
    values.py, finite.py                 a result against the right one, and against finite differences
    judge.py                             from results to a score with hints
    files.py                             starter files, and the files of a class
    pictures.py                          the folder of exercise 12

No file here has an answer to an exercise in the form that the exercise asks for.
"""
