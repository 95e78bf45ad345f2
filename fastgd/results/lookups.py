"""What a result has in place of the names that other libraries use, for the error of a lookup."""

from __future__ import annotations

INSTEAD = {  # what there is: what others call it, without underscores at the ends
    "it is result.w": (
        "b1", "beta", "coef", "coefficients", "coefs", "params", "parameters", "slope", "slopes", "theta", "weight", "weights", "x",
    ),
    "it is result.intercept": ("b", "b0", "bias", "const", "constant", "intercept", "intercepts"),
    "it is result.loss": ("cost", "error", "final_loss", "fun", "loss", "mean_squared_error", "min_loss", "mse", "objective", "train_loss"),
    "it is result.history.loss, with fit(..., history=True)": ("costs", "loss_curve", "loss_history", "losses", "trace", "trajectory"),
    "it is result.history.w, with fit(..., history=True)": ("w_history", "weights_history"),
    "it is result.epochs": ("epoch", "iterations", "n_epochs", "n_iter", "nfev", "nit", "niter", "num_epochs", "steps"),
    "it is result.status == fastgd.Status.CONVERGED": ("converged", "has_converged", "is_converged", "ok", "success"),
    "it is result.lr": ("alpha", "eta", "learning_rate", "learning_rates", "rate", "rates"),
    "it is result.n_used": ("n", "n_obs", "n_observations", "n_samples", "n_samples_seen", "nobs"),
    "it is result.condition, from fastgd.solve": ("cond", "condition_number"),
    "it is result.rank, from fastgd.solve": ("matrix_rank", "rank"),
    "it is np.shape(result.loss)": ("batch_shape", "n_fits", "shape", "size"),
    "it is result.stats.r2, with stats=True in fit or solve": (
        "r2", "r2_score", "r_squared", "rsquared", "score",
    ),
    "it is np.sqrt(result.loss)": ("rmse", "root_mean_squared_error"),
    "it is y - result.predict(X)": ("resid", "residual", "residuals", "resids"),
    "it is result.predict(X)": ("fitted", "fitted_values", "fittedvalues", "predictions", "transform"),
    "it is result.summary()": ("describe", "print_summary", "report"),
    "it is result.to_frame()": ("as_dataframe", "df", "to_csv", "to_dataframe", "to_dict", "to_pandas", "to_polars"),
    "it is result.plot_fit(X, y), or result.plot_loss()": ("plot", "plot_history", "plot_losses", "show"),
    "it is result.save(path), and fastgd.load(path)": ("dump", "load", "savez", "to_file", "write"),
    "it is fastgd.fit(X, y), which made this result; with state=result.state it goes on": (
        "fit", "fit_predict", "partial_fit", "refit", "train",
    ),
    "it is in result.stats, with stats=True in fit or solve": (
        "adjusted_r2", "aic", "bic", "bse", "conf_int", "cov", "cov_params", "covariance", "f_pvalue", "fvalue", "p", "p_values",
        "pvalue", "pvalues", "residual_variance", "rsquared_adj", "sigma", "sigma2", "standard_errors", "statistics", "std_err",
        "std_error",
        "stderr", "t", "t_values", "tvalues",
    ),
}  # fmt: skip
