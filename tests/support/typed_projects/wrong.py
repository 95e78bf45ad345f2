"""A user's program with a mistake in each line that ends in a comment: a type checker finds it."""

import numpy as np

import fastgd
from fastgd.testing import assert_agrees

x = np.array([1.0, 2.0, 3.0])
fastgd.fit(x, x, nan_policy="ignore")  # arg-type
fastgd.fit(x, x, optimizer=3)  # arg-type
fastgd.fit(x, x, optimizer="sdg")  # arg-type
fastgd.fit(x, x, epoch=3)  # call-arg
fastgd.fit(x, x, epochs="3")  # arg-type
fastgd.fit(x, x, reduction="max")  # arg-type
fastgd.fit(x, x, backend="gpu")  # arg-type
fastgd.fit(x, x, algorithm="fast")  # arg-type
fastgd.fit(x, x, dtype="float16")  # arg-type
fastgd.fit(x, x, tol="small")  # arg-type
fastgd.fit(x, x, lr={0.1})  # arg-type
fastgd.fit(x, x, lr="a")  # arg-type
fastgd.fit(x, x, lr=["a"])  # arg-type
fastgd.fit(x, x, nodata="x")  # arg-type
fastgd.fit(x, x, nodata=["x"])  # list-item
fastgd.fit(x, x, nodata={"z": 3})  # dict-item
fastgd.solve(x, x, nodata={"y": "x"})  # dict-item
fastgd.solve(x, x, weight_decay="small")  # arg-type
fastgd.fit({1: x}, x)  # arg-type
fastgd.fit()  # call-arg
fastgd.compress(x)  # call-arg
fastgd.compress(x, x, lr=0.1)  # call-arg
fastgd.compress(x, x).select("first")  # arg-type
print(fastgd.compress(x, x).w)  # attr-defined
fastgd.Moments.merge([x])  # list-item
fastgd.fit(x, x, 0.1)  # call-arg
fastgd.fit(x, x, state=fastgd.fit(x, x))  # arg-type
fastgd.fit(x, x, progress="yes")  # arg-type
print(fastgd.fit(x, x).coef_)  # attr-defined
print(fastgd.fit(x, x).history.loss)  # union-attr
print(fastgd.fit(x, x).state.epochs)  # attr-defined
fastgd.solve(x, x, lr=0.1)  # call-arg
fastgd.solve(x, x, nan_policy="drop")  # arg-type
fastgd.SGD(learning_rate=0.1)  # call-arg
fastgd.SGD(lr={0.1})  # arg-type
fastgd.SGD(momentum="x")  # arg-type
fastgd.Adam(betas=0.9)  # arg-type
fastgd.Adam(betas="ab")  # arg-type
fastgd.verify("numpy", x, x, lr="a")  # arg-type
fastgd.LinearRegression()  # attr-defined
print(fastgd.Status.FAILED)  # attr-defined
fastgd.verify("numpy", x, x, reduction="max")  # arg-type
print(fastgd.verify("numpy", x, x).taus)  # attr-defined
fastgd.diagnose(x, x, x, learning_rate=0.1)  # call-arg
assert_agrees("numpy", x, x, learning_rate=0.1)  # call-arg
assert_agrees("numpy", x, x, optimizer=3)  # arg-type
