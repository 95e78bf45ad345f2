"""The names that people give to the parts of a gradient descent, each with its role."""

from __future__ import annotations

import pytest

from fastgd.verification.candidates.names import role_of_answer, roles_of

# as they stand in public courses, books and repositories
SIGNATURES = {
    "X y theta alpha num_iters": "X y w lr epochs",
    "X_b y eta n_iterations m": "X y lr epochs count",
    "points starting_b starting_m learning_rate num_iterations": "points b w lr epochs",
    "b_current m_current points learningRate": "b w points lr",
    "x y w_in b_in alpha num_iters": "X y w b lr epochs",
    "X y theta0 theta1 alpha n": "X y b w lr count",
    "x y beta0 beta1 l_rate": "X y b w lr",
    "A b x lr iters": "X y w lr epochs",
    "A b x0 step maxiter": "X y w lr epochs",
    "x y m c L epochs": "X y w b lr epochs",
    "x y a b lr epochs": "X y w b lr epochs",
    "X y w a": "X y w lr",
    "y tx initial_w max_iters gamma": "y X w epochs lr",
    "features targets weights lr": "X y w lr",
    "train_X train_y num_epochs": "X y epochs",
    "inputs outputs weight bias rate steps": "X y w b lr epochs",
    "X Y W B step_size nb_epochs": "X y w b lr epochs",
    "data lr epochs": "points lr epochs",
    "X y tolerance verbose": "X y tol -",
    "X y learning_rate alpha": "X y lr ridge",
    "X y alpha lam": "X y lr ridge",
}


@pytest.mark.parametrize("signature", SIGNATURES)
def test_the_roles_of_a_signature(signature):
    names = signature.split()
    found = roles_of(names)
    assert " ".join(found.get(name, "-") for name in names) == SIGNATURES[signature]


def test_the_roles_of_results():
    roles = {
        "w": "w theta weights coef_ W_ params m slope linear.weight",
        "b": "b bias intercept_ c",
        "w_rows": "w_history theta_hist ws weights_list params_path history_of_w",
        "b_rows": "b_history bias_list",
        "loss": "loss losses J J_history cost_ costs loss_history_ mse errors train_loss",
        None: "history lr n_iter X verbose seconds",
    }
    found = {role: [name for name in names.split() if role_of_answer(name) != role] for role, names in roles.items()}
    assert not any(found.values())
